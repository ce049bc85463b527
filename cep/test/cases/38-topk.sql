-- Sentence 38: topk(k, x) is a list: the k greatest values, descending; null and NaN are skipped.
CREATE STREAM s (i INT, d DOUBLE, t TEXT);
CREATE RULE w AS SELECT topk(3, i) AS ti, topk(2, d) AS td, topk(2, t) AS tt FROM s WINDOW TUMBLE 10s DO log();
CREATE RULE none AS SELECT topk(3, i) AS ti FROM s WHERE i IS NULL WINDOW TUMBLE 10s DO log();
CREATE RULE reads AS SELECT ti, tt FROM w DO log();
