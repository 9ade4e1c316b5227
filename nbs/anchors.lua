-- Live links for names. Each function or class that a page exports and shows gets an anchor of its name, and each `name` in the
-- text links to it, if the page defines the name itself or imports it from an earlier chapter. All other names stay as they are.
-- (nbdev's own links are switched off in pyproject.toml: they go by the name alone, so `Range` led to another chapter's Range.)

local function read_lines(path)
  local file = io.open(path)
  if not file then return pandoc.List() end
  local lines = pandoc.List()
  for line in file:lines() do lines:insert(line) end
  file:close()
  return lines
end

-- nbdev renders copies without directives and hidden cells in a folder beside nbs: what it took out is read from the original.
local function original(root, path)
  local file = io.open(root .. "/../nbs/" .. path)
  if not file then return root .. "/" .. path end
  file:close()
  return root .. "/../nbs/" .. path
end

-- Names that a notebook defines in cells marked `#| exports`: those that its page shows with their source.
local function shown_names(path)
  local names, exported = {}, false
  for _, line in ipairs(read_lines(path)) do
    if line:match('^%s*"source":') then exported = false end
    local code = line:match('^%s*"(.*)$')
    if code then
      if code:match("^#| exports") then exported = true end
      local name = code:match("^def ([%a_][%w_]*)") or code:match("^class ([%a_][%w_]*)")
      if exported and name and not name:match("^_") then names[name] = true end
    end
  end
  return names
end

-- module -> page, from sidebar.yml: "llm.gpt" -> "llm/09_gpt"
local function pages_of(root)
  local pages = {}
  for _, line in ipairs(read_lines(original(root, "sidebar.yml"))) do
    local part, name = line:match("^%s*%- ([%w_]+)/([%w_]+)%.ipynb")
    if part then pages[part .. "." .. name:gsub("^%d+%a?_", "")] = part .. "/" .. name end
  end
  return pages
end

-- name -> { module, name there }, for what a notebook imports from other chapters; an import may span lines in parentheses
local function imported_names(path)
  local names, module, open = {}, nil, false
  for _, line in ipairs(read_lines(path)) do
    local code = line:match('^%s*"(.-)\\n",?$') or line:match('^%s*"(.*)"$') or ""
    local from, rest = code:match("^%s*from era_nbdev%.([%w_%.]+) import (.*)$")
    if from then module, code, open = from, rest, rest:match("%(") ~= nil end
    if module then
      for word in code:gsub("%s+as%s+", "@"):gmatch("[%a_][%w_@]*") do
        local there, short = word:match("^(.-)@(.*)$")
        names[short or word] = { module, there or word }
      end
      if code:match("%)") or not open then module = nil end
    end
  end
  return names
end

local function targets_of(root, page)
  local path = original(root, page .. ".ipynb")
  local targets, pages, shown = {}, pages_of(root), {}
  local up = string.rep("../", select(2, page:gsub("/", "")))
  for name, from in pairs(imported_names(path)) do
    local module, name_there = from[1], from[2]
    local other = pages[module]
    if other then
      shown[other] = shown[other] or shown_names(original(root, other .. ".ipynb"))
      if shown[other][name_there] then targets[name] = up .. other .. ".html#" .. name_there end
    end
  end
  for name in pairs(shown_names(path)) do targets[name] = "#" .. name end
  return targets
end

function Pandoc(doc)
  if not quarto.doc.is_format("html:js") or not quarto.project.directory then return end
  local root = quarto.project.directory:gsub("\\", "/"):gsub("/$", "")
  local input = quarto.doc.input_file:gsub("\\", "/")
  if input:sub(1, #root + 1) == root .. "/" then input = input:sub(#root + 2) end
  local page = input:match("^(.*)%.ipynb$")
  if not page then return end
  local own, targets, seen = shown_names(original(root, page .. ".ipynb")), targets_of(root, page), {}
  return doc:walk({
    traverse = "topdown",
    Header = function(header) return header, false end,
    Link = function(link) return link, false end,
    Div = function(div)
      if not div.classes:includes("cell") then return end
      local out = pandoc.List()
      div:walk({ CodeBlock = function(block)
        local text = "\n" .. block.text
        for _, pattern in ipairs({ "\ndef ([%a_][%w_]*)", "\nclass ([%a_][%w_]*)" }) do
          for name in text:gmatch(pattern) do
            if own[name] and not seen[name] then
              seen[name] = true
              out:insert(pandoc.RawBlock("html", '<a id="' .. name .. '" class="def"></a>'))
            end
          end
        end
      end })
      if #out == 0 then return end
      out:insert(div)
      return out, false
    end,
    Code = function(code)
      local name = code.text:match("^([%a_][%w_]*)$") or code.text:match("^([%a_][%w_]*)%(%)$")
      if name and targets[name] then return pandoc.Link(code, targets[name]), false end
    end,
  })
end
