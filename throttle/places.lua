-- How a user's places are kept: the head of decide.lua and of release.lua.
--
-- One string holds what one user has under every cap, a section a rule:
--
--	rule    4 bytes  a hash of the rule's name
--	window  4 bytes  for how many ms a place counts
--	n       2 bytes  how many places follow, the earliest first, for each
--	        5 bytes  when it goes, in ms since EPOCH
--	        5 bytes  a hash of the delivery's id
--
-- Numbers are big-endian. places.go reads the same.

local EPOCH = 1600000000000 -- September 2020; five bytes last until 2055
local LAST = 1099511627775  -- the last moment after it that fits
local HEAD, PLACE = 10, 10  -- bytes of a section before its places, and of a place
local KEEP = 2048           -- places kept a rule; of a longer line the earliest are forgotten
local SLACK = 5000          -- ms by which callers' clocks may differ without a place being forgotten too early

local byte, char, find, sub, format = string.byte, string.char, string.find, string.sub, string.format
local concat = table.concat

-- The moment that stands at byte i of a section's places.
local function moment(places, i)
  local a, b, c, d, e = byte(places, i, i + 4)
  return EPOCH + (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e
end

-- A moment's five bytes. The same one is asked for again and again.
local packed, bytes
local function pack(t)
  if t == packed then return bytes end
  packed = t
  local rest = math.min(math.max(t - EPOCH, 0), LAST)
  local e = rest % 256; rest = (rest - e) / 256
  local d = rest % 256; rest = (rest - d) / 256
  local c = rest % 256; rest = (rest - c) / 256
  local b = rest % 256
  bytes = char((rest - b) / 256, b, c, d, e)
  return bytes
end

-- What a user's string holds: a list of sections, each also under its rule. A
-- section's places are those of a string, without the first few that are
-- forgotten, and behind them those that were added, so that a line of thousands
-- is not copied for each. What cannot be read, as nothing here writes it, is left
-- out: one user's string must not fail a batch, which would be tried for ever.
local function open(raw)
  local user = {}
  local i = 1
  while i < #raw do
    local w3, w2, w1, w0, n1, n0 = byte(raw, i + 4, i + 9)
    if not n0 then break end
    local n, rule = n1 * 256 + n0, sub(raw, i, i + 3)
    local past = i + HEAD + n * PLACE
    if n == 0 or past > #raw + 1 then break end
    local section = {
      head = sub(raw, i, i + 7), window = ((w3 * 256 + w2) * 256 + w1) * 256 + w0,
      n = n, places = sub(raw, i + HEAD, past - 1), first = 0, added = false, rule = false, last = false, at = false,
    }
    user[#user + 1], user[rule] = section, section
    i = past
  end
  return user
end

-- The n-th place of a section, counted from its earliest.
local function nth(section, n)
  local i = (section.first + n - 1) * PLACE
  if i < #section.places then return moment(section.places, i + 1) end
  return section.added[(i - #section.places) / PLACE + 1]
end

-- The last place of a section that has any.
local function last(section)
  if not section.last then section.last = nth(section, section.n) end
  return section.last
end

-- A section's places, in one string.
local function whole(section)
  local places, first, added = section.places, section.first, section.added
  if first > 0 then places = sub(places, first * PLACE + 1) end
  if added then places = places .. concat(added.entries) end
  section.places, section.first, section.added = places, 0, false
  return places
end

-- Adds a place behind all others.
local function append(section, t, id)
  local added = section.added
  if not added then
    added = {entries = {}, ids = {}}
    section.added = added
  end
  local n = #added + 1
  added[n], added.entries[n], added.ids[id] = t, pack(t) .. id, t
  section.n, section.last = section.n + 1, t
end

-- The moment of the place that a delivery has in a section, nil for none, and
-- the byte at which it stands where that is in the string.
local function held(section, id)
  local added = section.added
  if added and added.ids[id] then return added.ids[id] end
  local places, from = section.places, section.first * PLACE + 1
  local i = find(places, id, from, true)
  while i and i % PLACE ~= 6 do i = find(places, id, i + 1, true) end
  if i then return moment(places, i - 5), i - 5 end
end

-- Forgets the first n places of a section.
local function forget(section, n)
  section.n, section.first, section.at = section.n - n, section.first + n, false
end

-- Writes a user down. It is forgotten when the last place has left its window,
-- as is before that the section of a rule whose own last place has.
local function save(key, user, now)
  local out, ends = {}, now
  for _, section in ipairs(user) do
    local stop = section.n > 0 and last(section) + section.window + SLACK or 0
    if stop > now then
      local n0 = section.n % 256
      out[#out + 1] = section.head
      out[#out + 1] = char((section.n - n0) / 256, n0)
      out[#out + 1] = whole(section)
      ends = math.max(ends, stop)
    end
  end
  if #out == 0 then
    redis.call('DEL', key)
  else
    redis.call('PSETEX', key, format('%d', ends - now), concat(out))
  end
end
