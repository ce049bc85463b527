-- Sentence 25: a bare name is a key, all else alias.field; WHERE filters completed matches, which are used up all the same.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE some AS SELECT dev, p.v AS pv, b.v AS bv, p.v + b.v AS total FROM PATTERN (EVERY (p=a -> b)) WITHIN 1h WHERE p.v + b.v > 5 AND dev != 'y' PARTITION BY dev DO log();
