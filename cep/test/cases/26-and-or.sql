-- Sentence 26: AND takes the first event of each side, in any order, one event may serve both; OR the first side, left on the same event; what did not match is null (25).
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE both AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY (a AND b)) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE either AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY (a OR b)) PARTITION BY dev DO log();
CREATE RULE partly AS SELECT p.v AS pv, q.v AS qv FROM PATTERN (EVERY (p=a{2} OR q=b)) PARTITION BY dev DO log();
CREATE RULE left AS SELECT p.v AS pv, q.v AS qv FROM PATTERN (EVERY (p=a[v > 1] OR q=a[v > 0])) PARTITION BY dev DO log();
CREATE RULE same_event AS SELECT p.v AS pv, q.v AS qv FROM PATTERN (EVERY (p=a[v > 1] AND q=a[v > 2])) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE tighter AS SELECT a.v AS av, b.v AS bv, k.v AS kv, q.v AS qv FROM PATTERN (EVERY (a AND b OR k=c) -> q=c) WITHIN 1h PARTITION BY dev DO log();
