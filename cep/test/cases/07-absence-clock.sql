-- Sentence 7: NOT .. FOR runs on the arrival clock: armed at A it is due at A + d and prints that; with time=event it runs on the horizon.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE by_clock AS SELECT a.v AS av FROM PATTERN (EVERY a -> NOT b FOR 5s) PARTITION BY dev DO log();
CREATE RULE by_event OPTIONS(time=event) AS SELECT a.v AS av FROM PATTERN (EVERY a -> NOT b FOR 5s) PARTITION BY dev DO log();
