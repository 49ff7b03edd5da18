-- Puts versions of templates on the shelf, and takes off what nobody has put
-- there for too long, or what is too much: what was put longest ago goes first.
--
-- KEYS[1]  shelf
-- KEYS[2]  sizes
-- ARGV[1]  the prefix of the bundles' keys, all of which lie in the same slot
-- ARGV[2]  how long they are kept, in milliseconds
-- ARGV[3]  how many bytes the shelf bears
-- ARGV[4]  what a bundle costs beside its bytes
-- ARGV[5…] template@version and bundle, in turn
-- Returns  how many were taken off

local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local function drop(member)
  redis.call('DEL', ARGV[1] .. member)
  redis.call('ZREM', KEYS[1], member)
  local size = redis.call('HGET', KEYS[2], member)
  if size then
    redis.call('HDEL', KEYS[2], member)
    redis.call('HINCRBY', KEYS[2], '', -size)
  end
end

for i = 5, #ARGV, 2 do
  drop(ARGV[i])
  local size = #ARGV[i + 1] + ARGV[4]
  redis.call('SET', ARGV[1] .. ARGV[i], ARGV[i + 1], 'PX', ARGV[2])
  redis.call('ZADD', KEYS[1], ms, ARGV[i])
  redis.call('HSET', KEYS[2], ARGV[i], size)
  redis.call('HINCRBY', KEYS[2], '', size)
end

local off = 0
while true do
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  local bytes = tonumber(redis.call('HGET', KEYS[2], '') or 0)
  if not oldest[1] or bytes <= tonumber(ARGV[3]) and tonumber(oldest[2]) >= ms - ARGV[2] then break end
  drop(oldest[1])
  off = off + 1
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return off
