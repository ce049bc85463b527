-- Sentence 40: a row of the table when no event of its key came for x since the start or the last one; once per silence.
CREATE STREAM hb (dev TEXT);
CREATE TABLE devices (dev TEXT KEY, room TEXT, watched BOOL);
CREATE RULE silent AS SELECT d.dev, room FROM TABLE devices d ANTI JOIN hb ON dev WITHIN 30s WHERE watched DO log();
CREATE RULE alarm AS SELECT dev FROM TABLE devices ANTI JOIN hb WITHIN 30s ALERT REMIND 40s DO log();
