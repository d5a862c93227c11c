-- Puts rebuilt metrics in the place of the old ones, with the position that they stand for.
-- KEYS: 1 offsets · 2 watermarks · 3 users · 4 hotels · 5 advertisers · 6 to 8 the rebuilt 3 to 5
--       9 what the keys of hotels' offers begin with · 10 the same, rebuilt
-- ARGV: n, n × (partition, offset), then (lane, last applied origin offset)...
-- Returns how many hotels there are. Any instance that reads the topic is fenced by it.
local function each_hotel(key, step)
  for first = 0, redis.call('ZCARD', key) - 1, 1000 do
    for _, hotel in ipairs(redis.call('ZRANGE', key, first, first + 999)) do
      step(hotel)
    end
  end
end

local function move(from, to)
  if redis.call('EXISTS', from) == 1 then
    redis.call('RENAME', from, to)
  else
    redis.call('UNLINK', to)
  end
end

each_hotel(KEYS[4], function(hotel)
  redis.call('UNLINK', KEYS[9] .. hotel)
end)
redis.call('UNLINK', KEYS[1], KEYS[2])
for i = 3, 5 do
  move(KEYS[i + 3], KEYS[i])
end
each_hotel(KEYS[4], function(hotel)
  move(KEYS[10] .. hotel, KEYS[9] .. hotel)
end)
local lanes = 2 + 2 * tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  redis.call('HSET', i < lanes and KEYS[1] or KEYS[2], ARGV[i], ARGV[i + 1])
end
return redis.call('ZCARD', KEYS[4])
