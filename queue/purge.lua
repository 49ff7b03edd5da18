-- Deletes dead letters of one channel of one partition.
-- KEYS[1]   the channel's dead letters by time (zset)
-- KEYS[2]   dead letters (hash)
-- ARGV      their ids
-- Returns   how many were there.
local tag = string.match(KEYS[1], '^{.-}:')
for _, id in ipairs(ARGV) do redis.call('UNLINK', tag .. 'digest:' .. id) end -- what it carried
redis.call('ZREM', KEYS[1], unpack(ARGV))
return redis.call('HDEL', KEYS[2], unpack(ARGV))
