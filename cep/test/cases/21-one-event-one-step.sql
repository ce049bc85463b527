-- Sentence 21: in one run an event serves one step: the counted one first while it is below its maximum.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE greedy AS SELECT count(p) AS n, p.v AS pv, q.v AS qv FROM PATTERN (EVERY p=a{1,2} -> q=a) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE many AS SELECT p.v AS pv, q.v AS qv FROM PATTERN (EVERY p=a -> q=a) WITHIN 1h PARTITION BY dev DO log();
