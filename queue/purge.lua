-- Deletes dead letters of one channel of one partition.
-- KEYS[1]   the channel's dead letters by time (zset)
-- KEYS[2]   dead letters (hash)
-- ARGV      their ids
-- Returns   how many were there.
redis.call('ZREM', KEYS[1], unpack(ARGV))
return redis.call('HDEL', KEYS[2], unpack(ARGV))
