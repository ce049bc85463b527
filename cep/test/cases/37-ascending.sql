-- Sentence 37: ASC may be said, and a column may have that name.
CREATE STREAM temp (dev TEXT, asc DOUBLE);
CREATE RULE said AS SELECT dev, max(asc) AS m FROM temp GROUP BY dev WINDOW TUMBLE 10s ORDER BY m ASC, dev DESC DO log();
CREATE RULE left_out AS SELECT dev, max(asc) AS asc FROM temp GROUP BY dev WINDOW TUMBLE 10s ORDER BY asc, dev DESC DO log();
