-- Sentence 39: inner; ON c; the last line of a key wins; a null key finds nothing.
CREATE STREAM temp (dev TEXT, model TEXT, v DOUBLE);
CREATE TABLE limits (model TEXT KEY, max DOUBLE, site TEXT);
CREATE RULE over AS SELECT dev, v, l.max, site FROM temp JOIN TABLE limits l ON temp.model = l.model WHERE temp.v > l.max DO log();
CREATE RULE short AS SELECT dev, max FROM temp JOIN TABLE limits ON model DO log();
CREATE RULE more AS SELECT dev FROM temp t JOIN TABLE limits l ON t.model = l.model AND l.site = 'x' DO log();
