-- In the EPUB all pages are one document. A link to a notebook or page of the book becomes a link to the heading of that
-- chapter, whose text is the title in the notebook's first cell.

local function read(path)
  local file = io.open(path)
  if not file then return end
  local text = file:read("a")
  file:close()
  return text
end

-- The folders in which the pages may lie when this filter runs; nbdev renders copies in a folder beside nbs.
local function roots()
  local list = pandoc.List({ "../nbs", "." })
  if quarto.project.directory then
    local root = quarto.project.directory:gsub("\\", "/"):gsub("/$", "")
    list:insert(1, root .. "/../nbs")
    list:insert(root)
  end
  return list
end

-- The title of a page: that of the front matter, or else the first heading of its first cell or line.
local function title_of(path)
  for _, root in ipairs(roots()) do
    local text = read(root .. "/" .. path)
    if text then
      local title = text:match("^%-%-%-\n.-title:%s*\"?([^\n\"]+)") or text:match('"# ([^"\n]-)\\n"') or text:match('"# ([^"\n]+)"')
      if title then return pandoc.utils.stringify(pandoc.read(title, "markdown").blocks) end
    end
  end
end

-- The path of a page from the root of the book: "../llm/09_gpt.ipynb" and "09_gpt.ipynb" are "llm/09_gpt.ipynb".
local function page_of(target, pages)
  local name = target:gsub("^%./", ""):gsub("^%.%./", "")
  for _, page in ipairs(pages) do
    if page == name or page:sub(-#name - 1) == "/" .. name then return page end
  end
end

local function listed_pages()
  local pages = pandoc.List()
  for _, root in ipairs(roots()) do
    local text = read(root .. "/sidebar.yml")
    if text and #pages == 0 then
      for page in text:gmatch("([%w_/%.]+%.ipynb)") do pages:insert(page) end
      for page in text:gmatch("([%w_/%.]+%.qmd)") do pages:insert(page) end
    end
  end
  return pages
end

function Pandoc(doc)
  if not quarto.doc.is_format("epub") then return end
  local pages, heading, found = listed_pages(), {}, {}
  doc:walk({
    Header = function(header)
      local title = pandoc.utils.stringify(header.content)
      if header.level == 1 and not heading[title] then heading[title] = header.identifier end
    end,
  })
  local function anchor(target)
    local page = page_of(target, pages)
    if not page then return end
    if found[page] == nil then found[page] = heading[title_of(page) or ""] or false end
    return found[page]
  end
  return doc:walk({
    Link = function(link)
      local file, section = link.target:match("^([%w_%./]+%.%a+)(#?.*)$")
      if not file or not (file:match("%.ipynb$") or file:match("%.qmd$")) then return end
      if section ~= "" then
        link.target = section
        return link
      end
      local id = anchor(file)
      if id then
        link.target = "#" .. id
        return link
      end
    end,
  })
end
