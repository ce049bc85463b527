-- Sentence 27: b violates up to t + d; a at the same t that arrives later counts; the event that completed a is never tested.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE no_b AS SELECT a.v AS av FROM PATTERN (EVERY a -> NOT b FOR 2s) PARTITION BY dev DO log();
CREATE RULE own AS SELECT p.v AS pv FROM PATTERN (EVERY p=a[v > 5] -> NOT a FOR 1s) PARTITION BY dev DO log();
CREATE RULE then AS SELECT a.v AS av, c.v AS cv FROM PATTERN (EVERY a -> NOT b FOR 2s -> c) WITHIN 1h PARTITION BY dev DO log();
