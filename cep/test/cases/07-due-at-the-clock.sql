-- Sentence 7: what is due just where the clock stands was not missed: the next wait goes on from there, also when an event that no rule reads brought the clock.
CREATE STREAM a (dev TEXT);
CREATE STREAM b (dev TEXT);
CREATE RULE quiet AS SELECT 1 AS one FROM PATTERN (EVERY NOT a FOR 2s) PARTITION BY dev DO log();
