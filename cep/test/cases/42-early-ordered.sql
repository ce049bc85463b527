-- Sentences 42 and 37: with ORDER BY and LIMIT, EARLY prints the best rows so far of each window that is open.
CREATE STREAM temp (dev TEXT, v INT);
CREATE RULE top AS SELECT dev, sum(v) AS s FROM temp GROUP BY dev WINDOW TUMBLE 10s ORDER BY s DESC EMIT EARLY EVERY 4s LIMIT 2 DO log();
CREATE RULE hops AS SELECT dev, sum(v) AS s FROM temp GROUP BY dev WINDOW HOP 8s, 4s ORDER BY s DESC EMIT EARLY EVERY 6s LIMIT 1 DO log();
