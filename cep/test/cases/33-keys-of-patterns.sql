-- Sentence 33: each key has its own runs; PARTITION BY s1.a = s2.b AS k; a null key drops the event.
CREATE STREAM door (dev TEXT, room INT);
CREATE STREAM motion (dev TEXT, place INT, zone TEXT);
CREATE RULE seen AS SELECT k, door.dev AS d, motion.dev AS m FROM PATTERN (EVERY door -> motion) WITHIN 5s PARTITION BY door.room = motion.place AS k DO log();
CREATE RULE anywhere AS SELECT door.dev AS d, motion.dev AS m FROM PATTERN (EVERY door -> motion) WITHIN 5s DO log();
