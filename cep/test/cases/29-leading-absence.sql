-- Sentence 29: a first absence counts from the key's first event, or from the first time known; every event of the absent kind starts it anew, and so does firing.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE silent AS SELECT dev FROM PATTERN (EVERY NOT a FOR 3s) PARTITION BY dev DO log();
CREATE RULE nobody AS SELECT 1 AS one FROM PATTERN (EVERY NOT a FOR 5s) DO log();
CREATE RULE then_b AS SELECT b.v AS bv FROM PATTERN (NOT a FOR 3s -> b) WITHIN 2s PARTITION BY dev DO log();
