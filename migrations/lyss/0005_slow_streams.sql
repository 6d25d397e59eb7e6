-- Output tokens a second that a stream must make; a slower one is ended after a while. NULL: any.
ALTER TABLE channels ADD COLUMN min_output_tps INTEGER;
