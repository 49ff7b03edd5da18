-- Cancels what is parked of one notification.
-- KEYS[1]   parked ids by due time (zset)
-- KEYS[2]   parked payloads (hash)
-- KEYS[3]   the notification's record
-- ARGV[1]   the record's life once nothing is open, ms
-- ARGV[2..] pairs: parked id, record line
-- Returns   how many were canceled.
local canceled = 0
for a = 2, #ARGV, 2 do
  if redis.call('ZREM', KEYS[1], ARGV[a]) == 1 then
    redis.call('HDEL', KEYS[2], ARGV[a])
    redis.call('APPEND', KEYS[3], ARGV[a + 1])
    canceled = canceled + 1
  end
end
if canceled > 0 then
  local open = math.max((tonumber(redis.call('GETRANGE', KEYS[3], 0, 2)) or 0) - canceled, 0)
  redis.call('SETRANGE', KEYS[3], 0, string.format('%03d', open))
  if open == 0 then
    redis.call('PEXPIRE', KEYS[3], ARGV[1])
    final(KEYS[3])
  end
end
publish()
return canceled
