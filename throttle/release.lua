-- Gives places back, or hands them to another delivery, under whatever rules
-- they were taken. In a line so long that its beginning is forgotten none is
-- given back: it must end as late as it does. See places.lua for how places are
-- kept.
--
-- KEYS     the string of the user's places, for each delivery; all of one slot
-- ARGV     for each delivery 5 bytes of its id's hash, now in ms, and 5 bytes of
--          the hash of the id that takes its places over (empty: they are free)
-- Returns  how many deliveries had a place

local found = 0
for k, key in ipairs(KEYS) do
  local id, now, heir = ARGV[3 * k - 2], tonumber(ARGV[3 * k - 1]), ARGV[3 * k]
  local user, had = open(redis.call('GET', key) or ''), false
  for _, section in ipairs(user) do
    local t, i
    if heir ~= '' or section.n < KEEP then t, i = held(section, id) end
    if t then
      had = true
      local moved = heir ~= '' and sub(section.places, i, i + 4) .. heir or ''
      section.places = sub(section.places, 1, i - 1) .. moved .. sub(section.places, i + PLACE)
      section.n = #section.places / PLACE
    end
  end
  if had then
    save(key, user, now)
    found = found + 1
  end
end
return found
