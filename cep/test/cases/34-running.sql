-- Sentence 34: without WINDOW aggregates run from the rule's start and print per event.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE r AS SELECT dev, v, sum(v) AS s, avg(v) AS m, count(*) AS n FROM temp PARTITION BY dev DO log();
CREATE RULE all_of_it AS SELECT max(v) AS m, count(v) AS n FROM temp DO log();
