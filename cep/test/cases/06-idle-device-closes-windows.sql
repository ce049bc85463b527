-- Sentence 6: the windows of a device that fell silent close when the arrival clock is `idle` past them.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w OPTIONS(idle=5s) AS SELECT dev, count(*) AS n FROM temp GROUP BY dev WINDOW TUMBLE 10s DO log();
CREATE RULE site OPTIONS(idle=5s) AS SELECT count(*) AS n FROM temp WINDOW TUMBLE 10s DO log();
