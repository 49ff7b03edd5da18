-- Gives one consumer the right to find out whether what is down, or refuses us,
-- is well again; or takes it back.
--
-- KEYS[1]  string: who has the right
-- KEYS[2]  ZSET: what is paused → ms at which that ends
-- ARGV     the consumer's name; for how many ms the right holds, 0: it is given
--          back; what it is about
-- Returns  1 when the consumer has the right

local who, ms = ARGV[1], tonumber(ARGV[2])
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= who then return 0 end
if ms == 0 then
  redis.call('DEL', KEYS[1])
  return 0
end
if not holder then
  -- Somebody may have found out a moment ago.
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[3]) or 0) > now then return 0 end
end
redis.call('SET', KEYS[1], who, 'PX', ms)
return 1
