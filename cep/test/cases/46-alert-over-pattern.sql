-- Sentence 46: a match is a row; the next event of the first step resolves; ALERT REMIND alone means ON true.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE dead AS SELECT p.dev AS dev, p.v AS v FROM PATTERN (EVERY p=a -> NOT a FOR 30s) PARTITION BY dev ALERT REMIND 20s DO log();
