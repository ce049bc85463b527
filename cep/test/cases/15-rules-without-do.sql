-- Sentence 15: a rule without DO prints nothing and feeds others.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE silent AS SELECT dev, v FROM temp WHERE v > 1;
CREATE RULE loud AS SELECT dev, v FROM silent WHERE v < 3 DO log();
