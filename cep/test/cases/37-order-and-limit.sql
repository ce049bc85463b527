-- Sentence 37: ORDER BY and LIMIT over the rows of one end; ties by ascending key, null and NaN last either way.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE top AS SELECT dev, max(v) AS m FROM temp GROUP BY dev WINDOW TUMBLE 10s ORDER BY m DESC LIMIT 4 DO log();
CREATE RULE every_one AS SELECT dev, max(v) AS m FROM temp GROUP BY dev WINDOW TUMBLE 10s HAVING dev != 'b' ORDER BY m DESC DO log();
CREATE RULE upwards AS SELECT dev, last(v) AS m FROM temp GROUP BY dev WINDOW TUMBLE 10s ORDER BY m, dev DESC DO log();
