-- Sentence 42: EARLY EVERY d adds rows at multiples of d since the epoch while the window is open.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w AS SELECT dev, count(*) AS n FROM temp GROUP BY dev WINDOW TUMBLE 10s EMIT EARLY EVERY 4s DO log();
CREATE RULE s AS SELECT dev, count(*) AS n, window_end() AS e FROM temp GROUP BY dev WINDOW SESSION 5s EMIT EARLY EVERY 4s DO log();
