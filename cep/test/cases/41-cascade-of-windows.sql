-- Sentence 41: the rows of a window are events of the rule's stream, at the window's end.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w AS SELECT dev, avg(v) AS m FROM temp GROUP BY dev WINDOW TUMBLE 10s;
CREATE RULE high AS SELECT dev, m FROM w PARTITION BY dev ALERT ON m > 5 FOR 2 SAMPLES DO log();
CREATE RULE wide AS SELECT dev, max(m) AS top, count(*) AS n FROM w GROUP BY dev WINDOW TUMBLE 20s DO log();
