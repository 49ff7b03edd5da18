-- Takes in what became of a mail: suppresses its address, counts a soft bounce, or forgets the count.
-- KEYS[1]  the address's suppression
-- KEYS[2]  its soft bounces: a sorted set of reports by the millisecond they happened
-- ARGV[1]  hard, complaint, soft or delivery
-- ARGV[2]  the suppression as JSON, should it come to one
-- ARGV[3]  when it happened, unix ms
-- ARGV[4]  what tells this report from another
-- ARGV[5]  how many soft bounces suppress the address
-- ARGV[6]  within how long, ms
-- Returns  1 when the address is suppressed by this, 0 when not
local kind, at = ARGV[1], tonumber(ARGV[3])

-- What is there already stays, with its own moment; a dead address is dead for more than one that complained.
local function suppress()
  local now = redis.call('GET', KEYS[1])
  if now and (kind == 'complaint' or not string.find(now, '"kind":"complaint"', 1, true)) then return 0 end
  redis.call('SET', KEYS[1], ARGV[2])
  redis.call('DEL', KEYS[2])
  return 1
end

if kind == 'hard' or kind == 'complaint' then return suppress() end
if kind == 'delivery' then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])
  return 0
end
redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[4])
local newest = tonumber(redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', newest - tonumber(ARGV[6])))
redis.call('PEXPIRE', KEYS[2], ARGV[6])
if redis.call('ZCARD', KEYS[2]) < tonumber(ARGV[5]) then return 0 end
return suppress()
