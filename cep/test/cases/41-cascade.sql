-- Sentence 41: a rule is a stream of its rows or firings; it reads what comes at once, and its output stands after its cause.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 CLEAR v < 80 DO log();
CREATE RULE twice AS SELECT dev, v * 2 AS w FROM hot DO log();
CREATE RULE above PRIORITY 1 AS SELECT dev, w FROM twice WHERE w > 184 DO log();
