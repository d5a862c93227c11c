-- Applies a batch, or nothing of it: offsets and watermarks must be what the caller saw.
-- KEYS: 1 offsets · 2 watermarks · 3 users · 4 hotels · 5 advertisers · 6... offers, one hash a hotel
-- ARGV: lists, each with its length in front:
--   (partition, expected, next) · (lane, expected or '', new or '')
--   (user, times) · (hotel, times) · (advertiser, times) · for each of KEYS 6...: (advertiser, price)
-- Returns nothing, or where it differs: partition, stored, expected (stored -1: none).
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

local offsets, lanes = {}, {}
for _ = 1, tonumber(take()) do
  local partition, expected, next_offset = take(), take(), take()
  local stored = redis.call('HGET', KEYS[1], partition)
  if stored ~= expected then
    return { tonumber(partition), tonumber(stored or -1), tonumber(expected) }
  end
  offsets[#offsets + 1] = { partition, next_offset }
end
-- A rebuild may set an offset to what it was, but then it moves watermarks.
for _ = 1, tonumber(take()) do
  local lane, expected, last = take(), take(), take()
  local stored = redis.call('HGET', KEYS[2], lane) or ''
  if stored ~= expected then
    return { tonumber(string.match(lane, '^%d+')), tonumber(stored) or -1, tonumber(expected) or -1 }
  end
  if last ~= '' then
    lanes[#lanes + 1] = { lane, last }
  end
end

for _, entry in ipairs(offsets) do
  redis.call('HSET', KEYS[1], entry[1], entry[2])
end
for _, entry in ipairs(lanes) do
  redis.call('HSET', KEYS[2], entry[1], entry[2])
end
for key = 3, 5 do
  for _ = 1, tonumber(take()) do
    local member, times = take(), take()
    redis.call('ZINCRBY', KEYS[key], times, member)
  end
end
for key = 6, #KEYS do
  for _ = 1, tonumber(take()) do
    local advertiser, price = take(), take()
    local stored = redis.call('HGET', KEYS[key], advertiser)
    if not stored or tonumber(price) < tonumber(stored) then
      redis.call('HSET', KEYS[key], advertiser, price)
    end
  end
end
return {}
