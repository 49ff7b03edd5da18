#!lua flags=allow-cross-slot-keys
-- Lets time pass for every key that expires, since Redis' own clock cannot be set: it expires that much earlier.
-- ARGV[1]  ms, whole minutes
-- Returns  how many keys expire
-- When in that time a key was written is not known, so one that is met for the first time is taken to be half as old.
-- Places under caps are taken to be new: they must not be forgotten before their time. To be known again, what was met
-- expires at a whole minute; of 60,000 keys one does by chance.
-- A scan may name a key twice, so what it names is gathered first.
local minute, ms = 60000, tonumber(ARGV[1])
local keys, cursor = {}, '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do keys[key] = true end
until cursor == '0'
local n = 0
for key in pairs(keys) do
  local at = redis.call('PEXPIRETIME', key)
  if at > 0 then
    if at % minute == 0 then
      at = at - ms
    else
      local old = string.find(key, '}:k:', 1, true) and 0 or (ms + minute) / 2
      at = math.ceil((at - old) / minute) * minute
    end
    redis.call('PEXPIREAT', key, string.format('%.0f', at))
    n = n + 1
  end
end
return n
