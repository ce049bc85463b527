-- Sentence 37: LIMIT k PER g keeps k rows of each g and prints in the order of ORDER BY.
CREATE STREAM net (dev TEXT, site TEXT, bytes INT);
CREATE RULE top AS SELECT site, dev, sum(bytes) b FROM net GROUP BY site, dev WINDOW HOP 10s, 10s ORDER BY b DESC LIMIT 2 PER site DO log();
CREATE RULE by_device AS SELECT dev, sum(bytes) b FROM net GROUP BY dev WINDOW TUMBLE 10s ORDER BY b DESC LIMIT 1 PER site DO log();
