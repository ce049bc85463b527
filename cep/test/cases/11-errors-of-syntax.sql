-- What is wrong is named with its place, what was expected, and a near name.
CREATE STREAM temp (dev TEXT, v DOUBLE, n INT);
CREATE STREM other (dev TEXT);
CREATE STREAM bad (dev TXT);
CREATE RULE r1 AS SELECT v FRM temp;
CREATE RULE r2 AS SELECT v FROM temp WHERE;
CREATE RULE r3 AS SELECT v FROM temp WHERE v > ;
CREATE RULE r4 AS SELECT v FROM temp LIMIT 3 WHERE v > 1;
CREATE RULE select AS SELECT v FROM temp;
CREATE RULE r6 AS SELECT v FROM temp ALERT ON v > 90 FOR 3;
CREATE RULE r7 AS SELECT v FROM temp WINDOW TUMBLE 10;
CREATE RULE r8 AS SELECT v # 2 FROM temp;
CREATE RULE r9 AS SELECT v FROM temp -- no semicolon
CREATE RULE r10 AS SELECT v FROM temp WHERE v > 'open;
