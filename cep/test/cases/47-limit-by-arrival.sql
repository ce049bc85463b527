-- Sentence 47: the minutes are those of arrival: a device whose clock jumps ahead or back neither silences the line nor multiplies it.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot OPTIONS(max_keys=1) AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 DO log();
CREATE RULE twice OPTIONS(max_runs=1) AS SELECT x.v AS v FROM PATTERN (EVERY x=temp[v > 90] -> y=temp[v < 1]) WITHIN 1h PARTITION BY dev DO log();
