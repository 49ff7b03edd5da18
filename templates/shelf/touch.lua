-- Keeps versions of templates on the shelf for longer.
--
-- KEYS[1]  shelf
-- KEYS[2]  sizes
-- ARGV[1]  the prefix of the bundles' keys, all of which lie in the same slot
-- ARGV[2]  how long they are kept, in milliseconds
-- ARGV[3…] template@version
-- Returns  the index of each that is not there, counting from 0

local now = redis.call('TIME')
local ms, missing = now[1] * 1000 + math.floor(now[2] / 1000), {}
for i = 3, #ARGV do
  if redis.call('PEXPIRE', ARGV[1] .. ARGV[i], ARGV[2]) == 1 then
    redis.call('ZADD', KEYS[1], ms, ARGV[i])
  else
    missing[#missing + 1] = i - 3
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return missing
