-- Sentence 19: what an instance matched is not offered to the next one; what broke contiguity, or came after expiry, is.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE pairs AS SELECT p.v AS pv, q.v AS qv FROM PATTERN (EVERY (p=a -> q=a)) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE strict AS SELECT p.v AS pv, q.v AS qv FROM PATTERN (EVERY (p=a[v > 0] , q=a[v > 10])) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE expired AS SELECT p.v AS pv, q.v AS qv FROM PATTERN (EVERY (p=a -> q=a)) WITHIN 1s PARTITION BY dev DO log();
CREATE RULE violated AS SELECT p.v AS pv, b.v AS bv FROM PATTERN (EVERY (p=a -> NOT a[v < 0] -> b)) WITHIN 1h PARTITION BY dev DO log();
