-- Puts dead deliveries of one channel of one partition back on their streams.
-- KEYS[1]   the channel's dead letters by time (zset)
-- KEYS[2]   dead letters (hash)
-- KEYS[3..] for each delivery: its record, its stream
-- ARGV[1]   how long an open notification's record is kept, ms
-- ARGV[2..] for each delivery: id, payload, record line, a record's beginning in case its own is gone
-- Returns   for each delivery 1, or 0 when it was no dead letter any more.
local out = {}
local a = 2
for k = 3, #KEYS, 2 do
  local mine = redis.call('HDEL', KEYS[2], ARGV[a]) == 1
  if mine then
    redis.call('ZREM', KEYS[1], ARGV[a])
    redis.call('SET', KEYS[k], ARGV[a + 3], 'NX')
    redis.call('APPEND', KEYS[k], ARGV[a + 2])
    local open = (tonumber(redis.call('GETRANGE', KEYS[k], 0, 2)) or 0) + 1
    redis.call('SETRANGE', KEYS[k], 0, string.format('%03d', open))
    redis.call('PEXPIRE', KEYS[k], ARGV[1])
    redis.call('XADD', KEYS[k + 1], '*', 'd', ARGV[a + 1])
  end
  out[#out + 1] = mine and 1 or 0
  a = a + 4
end
return out
