-- Takes from tenants' quotas, each a bucket of count places that fills within a time.
-- KEYS      a quota's state (string): the moment at which its bucket is full again, in µs by the server's clock
-- ARGV      for each ask: how much is wanted, of how many quotas, then for each: its index among KEYS, count, the
--           time in µs
-- Returns   for each ask, one after the other: how much was taken, the same from each quota, then for each quota how
--           much is left, and the µs until it is full
-- All of an ask's quotas are in one slot, so what one of them has not is taken from none.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local out, a = {}, 1

while a <= #ARGV do
  local wanted, n = tonumber(ARGV[a]), tonumber(ARGV[a + 1])
  local taken, quotas = wanted, {}
  for i = 1, n do
    local x = a + 3 * i - 1
    local q = {key = KEYS[tonumber(ARGV[x])], count = tonumber(ARGV[x + 1]), per = tonumber(ARGV[x + 2])}
    q.each = q.per / q.count
    -- A quota that was cut down holds nobody up for longer than it takes to fill.
    q.full = math.min(math.max(tonumber(redis.call('GET', q.key) or nil) or 0, now), now + q.per)
    q.left = math.floor((now + q.per - q.full) / q.each + 1e-6)
    taken = math.min(taken, q.left)
    quotas[i] = q
  end
  out[#out + 1] = taken
  for _, q in ipairs(quotas) do
    if taken > 0 then
      q.full = q.full + taken * q.each
      q.left = q.left - taken
      redis.call('SET', q.key, string.format('%.3f', q.full), 'PX', math.ceil((q.full - now) / 1000) + 1)
    end
    out[#out + 1] = q.left
    out[#out + 1] = math.ceil(q.full - now)
  end
  a = a + 2 + 3 * n
end
return out
