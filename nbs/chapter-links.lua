-- Puts two lines under the title of each chapter's web page: "Chapter 3.7 · Session 12 · 100 minutes · needs transformers", from
-- sidebar.yml and its front matter,
-- and "Open in Colab · Notebook · Source of the module".
-- A chapter is a notebook inside a part: PART/NN_name.ipynb, whose module is era_nbdev/PART/name.py.
-- Quarto gives filters no `website` metadata, so the address is read from nbdev.yml, where nbdev writes it.

local function setting(text, key)
  return text:match("\n%s*" .. key:gsub("%-", "%%-") .. ':%s*"?([^"%s]+)"?')
end

local function repository(root)
  local file = assert(io.open(root .. "/nbdev.yml"), "chapter-links.lua: nbdev.yml is missing; nbdev-docs writes it")
  local text = "\n" .. file:read("a")
  file:close()
  local url = assert(setting(text, "repo-url"), "chapter-links.lua: nbdev.yml has no repo-url"):gsub("/$", "")
  return url, setting(text, "repo-branch") or "main"
end

-- The chapter's part and file name, or nothing for index, notation, results and other pages that have no module.
local function chapter()
  local root, input = quarto.project.directory, quarto.doc.input_file
  if not root or not input then return end
  root, input = root:gsub("\\", "/"):gsub("/$", ""), input:gsub("\\", "/")
  if input:sub(1, #root + 1) == root .. "/" then input = input:sub(#root + 2) end
  local part, name = input:match("^([%w_/]+)/([%w_]+)%.ipynb$")
  if part then return root, part, name end
end

-- "2.3" for the third chapter of the second part of sidebar.yml, "A.3" for one of the last part, or nothing.
local function number(root, page)
  local file = io.open(root .. "/sidebar.yml")
  if not file then return end
  local part, chapter, found, parts = 0, 0, nil, 0
  for line in file:lines() do
    if line:match("^%s*#") then goto continue end
    if line:match("^%s*%- section:") then
      part, chapter = part + 1, 0
      parts = part
    end
    if line:match("^%s*%- [%w_]+/[%w_/]+%.ipynb") then chapter = chapter + 1 end
    if line:find("- " .. page .. ".ipynb", 1, true) then found = { part, chapter } end
    ::continue::
  end
  file:close()
  if not found then return end
  return (found[1] == parts and "A" or tostring(found[1])) .. "." .. found[2]
end

-- What the front matter says of session, time and packages, as one line after the chapter's number, or nothing.
local function facts(meta, place)
  local parts = pandoc.List()
  if place then parts:insert("Chapter " .. place) end
  local function of(key)
    local value = meta[key]
    if value == nil then return "" end
    if pandoc.utils.type(value) ~= "List" then return pandoc.utils.stringify(value) end
    local words = pandoc.List()
    for _, item in ipairs(value) do words:insert(pandoc.utils.stringify(item)) end
    return table.concat(words, ", ")
  end
  if of("session") ~= "" then parts:insert("Session " .. (of("session"):gsub("^S", ""))) end
  if of("minutes") ~= "" then parts:insert(of("minutes") .. " minutes") end
  if of("needs") ~= "" then parts:insert("needs " .. of("needs")) end
  if #parts > 0 then return table.concat(parts, " · ") end
end

function Pandoc(doc)
  if not quarto.doc.is_format("html:js") then return end
  local root, part, name = chapter()
  if not root then return end
  local url, branch = repository(root)
  local notebook = "/blob/" .. branch .. "/nbs/" .. part .. "/" .. name .. ".ipynb"
  local module = "/blob/" .. branch .. "/era_nbdev/" .. part .. "/" .. name:gsub("^%d+%a?_", "") .. ".py"
  local links = {
    pandoc.Link("Open in Colab", url:gsub("^https://github%.com", "https://colab.research.google.com/github") .. notebook),
    pandoc.Link("Notebook", url .. notebook),
    pandoc.Link("Source of the module", url .. module),
  }
  local line = pandoc.List()
  for i, link in ipairs(links) do
    if i > 1 then line:extend({ pandoc.Space(), pandoc.Str("·"), pandoc.Space() }) end
    line:insert(link)
  end
  doc.blocks:insert(1, pandoc.Div({ pandoc.Para(line) }, pandoc.Attr("", { "chapter-links" })))
  local about = facts(doc.meta, number(root, part .. "/" .. name))
  if about then doc.blocks:insert(1, pandoc.Div({ pandoc.Para(pandoc.Str(about)) }, pandoc.Attr("", { "chapter-facts" }))) end
  return doc
end
