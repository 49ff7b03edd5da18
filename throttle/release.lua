-- Gives places back, under whatever rules they were taken. In a line so long
-- that its beginning is forgotten none is: it must end as late as it does.
-- See places.lua for how places are kept.
--
-- KEYS     the string of the user's places, for each delivery; all of one slot
-- ARGV     for each delivery 5 bytes of its id's hash, and now in ms
-- Returns  how many deliveries had a place to give back

local freed = 0
for k, key in ipairs(KEYS) do
  local id, now, found = ARGV[2 * k - 1], tonumber(ARGV[2 * k]), false
  local user = open(redis.call('GET', key) or '')
  for _, section in ipairs(user) do
    local t, i
    if section.n < KEEP then t, i = held(section, id) end
    if t then
      section.places = sub(section.places, 1, i - 1) .. sub(section.places, i + PLACE)
      section.n, found = section.n - 1, true
    end
  end
  if found then
    save(key, user, now)
    freed = freed + 1
  end
end
return freed
