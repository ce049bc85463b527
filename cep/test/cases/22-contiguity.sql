-- Sentence 22: after ',' the next event of the pattern's streams with the key must match; other streams are not seen.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE strict AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY a , b) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE relaxed_behind AS SELECT a.v AS av, b.v AS bv, q.v AS qv FROM PATTERN (EVERY a , b -> q=a[v > 50]) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE counted AS SELECT first(p.v) AS f, p.v AS l, b.v AS bv FROM PATTERN (EVERY p=a[v > 0]{2} , b) WITHIN 1h PARTITION BY dev DO log();
