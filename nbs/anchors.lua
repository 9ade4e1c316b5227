-- Gives each definition that a page shows an anchor of its name, and makes the links that nbdev writes to such anchors
-- relative, so that they work offline and in previews.

local function site_url(root)
  local file = assert(io.open(root .. "/nbdev.yml"), "anchors.lua: nbdev.yml is missing; nbdev-docs writes it")
  local text = file:read("a")
  file:close()
  local url = assert(text:match('site%-url:%s*"?([^"%s]+)"?'), "anchors.lua: nbdev.yml has no site-url")
  return (url:gsub("/$", ""))
end

-- The way from a page up to the root of the site: "" for the front page, "../" for a chapter.
local function way_up(root)
  local input = quarto.doc.input_file:gsub("\\", "/")
  if input:sub(1, #root + 1) == root .. "/" then input = input:sub(#root + 2) end
  local _, depth = input:gsub("/", "")
  return string.rep("../", depth)
end

-- The names that a piece of Python defines at the top level or as methods.
local function definitions(code)
  local names = pandoc.List()
  local text = "\n" .. code
  for name in text:gmatch("\n[%w ]*def ([%a_][%w_]*)") do names:insert(name:lower()) end
  for name in text:gmatch("\nclass ([%a_][%w_]*)") do names:insert(name:lower()) end
  for name in text:gmatch("\n([%a_][%w_]*)[%w_%[%]:, ]* = ") do names:insert(name:lower()) end
  return names
end

function Pandoc(doc)
  if not quarto.doc.is_format("html:js") or not quarto.project.directory then return end
  local root = quarto.project.directory:gsub("\\", "/"):gsub("/$", "")
  local url, up, seen = site_url(root), way_up(root), {}
  return doc:walk({
    Link = function(link)
      if link.target:sub(1, #url + 1) ~= url .. "/" then return end
      link.target = up .. link.target:sub(#url + 2)
      return link
    end,
    Div = function(div)
      if not div.classes:includes("cell") then return end
      local out = pandoc.List()
      div:walk({ CodeBlock = function(block)
        for _, name in ipairs(definitions(block.text)) do
          if not seen[name] then
            seen[name] = true
            out:insert(pandoc.RawBlock("html", '<a id="' .. name .. '" class="def"></a>'))
          end
        end
      end })
      if #out == 0 then return end
      out:insert(div)
      return out
    end,
  })
end
