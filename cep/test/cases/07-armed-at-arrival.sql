-- Sentence 7: both clocks agree when input is in order: an event that waited for others counts from its arrival.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE by_clock AS SELECT a.v AS av FROM PATTERN (EVERY a -> NOT b FOR 3s) DO log();
CREATE RULE by_event OPTIONS(time=event) AS SELECT a.v AS av FROM PATTERN (EVERY a -> NOT b FOR 3s) DO log();
