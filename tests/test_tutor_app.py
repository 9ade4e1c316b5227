"The tutor's page in Chromium: keyboard alone, a slow answer, opinions, reload, deletion, stored HTML, telephone, light and dark."
import re, threading, time
import pytest
from browser import browser, open_page, playwright # noqa: F401 (fixtures)

pytest.importorskip('fastapi', reason="no fastapi: pip install 'era_nbdev[serve]'")
from era_nbdev.apps.rag import Statement
from era_nbdev.apps.tutor import Source, TutorAnswer
from era_nbdev.apps.tutor_app import Conversations, Rate, small_tutor, tutor_app
from era_nbdev.foundations.web import local_names
from era_nbdev.scale.api import background

EVIL = '<img src=x onerror="document.title=\'broken\'"><script>document.title=\'broken\'</script>'
GATE = threading.Event() # a slow answer goes on when it is set

class Stand: # the small tutor; some questions get what no book holds
    model = engine = ''
    def __init__(self):
        self.own = small_tutor()
        self.index, self.engine = self.own.index, 'stand'

    def stream(self, question, history=()):
        if question.startswith('slow'):
            yield 'The first half, '
            GATE.wait(120)
            yield 'and the second. '
            yield TutorAnswer(question, [Statement('The first half, and the second.', ())], [], 'stand')
        elif question.startswith('evil'):
            yield EVIL
            sources = [Source(1, EVIL, 'javascript:document.title="broken"', EVIL), Source(2, 'Other', 'https://example.org/x', '')]
            yield TutorAnswer(question, [Statement(EVIL, (0, 1))], sources, EVIL, [Statement(EVIL, (0, 1))])
        else:
            yield from self.own.stream(question, history)

@pytest.fixture(scope='module')
def store(tmp_path_factory): return Conversations(tmp_path_factory.mktemp('tutor')/'tutor.db')

@pytest.fixture(scope='module')
def url(store):
    with background(tutor_app(Stand(), store, rate=Rate(6_000, 1_000), names=local_names('127.0.0.1'))) as address: yield address

def said(page, text): playwright.expect(page.locator('#status')).to_contain_text(text, timeout=60_000)

def ask(page, text, words='answer is complete'):
    page.get_by_label('Your question').fill(text)
    page.keyboard.press('Enter')
    said(page, words)

def test_an_answer_with_its_sources(open_page):
    page = open_page()
    assert 'pieces of the book' in page.locator('#about').inner_text() and page.locator('#empty').is_visible()
    ask(page, 'What does a causal mask hide?')
    assert page.locator('#talk h3').inner_text() == 'What does a causal mask hide?' and not page.locator('#empty').is_visible()
    assert 'hides later positions' in page.locator('#talk .text').inner_text()
    link = page.locator('#talk .sources a').first
    assert link.get_attribute('href').endswith('llm/01_attention.html#causal-masks') and link.get_attribute('rel') == 'noopener noreferrer'
    assert page.locator('#talk blockquote').first.inner_text().startswith('A causal mask hides')
    playwright.expect(page.locator('#talk')).to_have_attribute('aria-busy', 'false')
    assert page.get_by_label('Your question').input_value() == ''
    ask(page, 'Who won the match of the two cities?', 'no answer')
    assert page.locator('#talk > li').count() == 2

def test_keyboard_alone(open_page):
    page = open_page()
    assert page.evaluate('document.activeElement.id') == 'question'
    page.keyboard.type('What does the KV')
    page.keyboard.press('Shift+Enter')
    page.keyboard.type('cache keep?')
    page.keyboard.press('Enter')
    said(page, 'answer is complete')
    assert page.evaluate('document.activeElement.id') == 'question'
    for _ in range(60): # backwards to the number in the answer
        page.keyboard.press('Shift+Tab')
        if page.evaluate("document.activeElement.className") == 'cite': break
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == 'source 1'
    page.keyboard.press('Enter')
    page.wait_for_timeout(100)
    assert re.fullmatch(r'turn-\d+-1', page.evaluate('document.activeElement.id'))
    seen = []
    for _ in range(12):
        page.keyboard.press('Tab')
        seen.append(page.evaluate('document.activeElement.textContent'))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == 'solid'
        if seen[-1] == 'Helpful': break
    page.keyboard.press('Space')
    said(page, 'your opinion is stored')

def test_a_slow_answer_grows_and_can_be_stopped(open_page, store):
    page = open_page()
    GATE.clear()
    ask(page, 'slow one', 'Searching')
    playwright.expect(page.locator('#talk .text')).to_have_text('The first half, ', timeout=60_000)
    assert page.locator('#talk').get_attribute('aria-busy') == 'true' and page.locator('#send').is_disabled()
    GATE.set()
    said(page, 'no answer') # it has no sources
    assert page.locator('#talk .text').inner_text().startswith('The first half, and the second.')
    GATE.clear()
    ask(page, 'slow again', 'Searching')
    playwright.expect(page.locator('#talk .text').last).to_have_text('The first half, ', timeout=60_000)
    page.keyboard.press('Escape')
    said(page, 'Stopped.')
    GATE.set()
    assert page.locator('#talk > li').count() == 1 and page.locator('#stop').is_disabled()
    assert page.get_by_label('Your question').input_value() == 'slow again' # it can be changed and asked again

def test_opinions_can_be_changed_and_stay(open_page):
    page = open_page()
    ask(page, 'What is a query?')
    good, bad = page.get_by_role('button', name='Helpful', exact=True), page.get_by_role('button', name='Not helpful')
    def pressed(): return good.get_attribute('aria-pressed'), bad.get_attribute('aria-pressed')
    assert pressed() == ('false', 'false')
    for button, words, expected in ((good, 'stored', ('true', 'false')), (bad, 'stored', ('false', 'true'))):
        button.click()
        playwright.expect(button).to_have_attribute('aria-pressed', 'true')
        assert pressed() == expected
    page.reload()
    page.wait_for_selector('body[data-ready]')
    assert pressed() == ('false', 'true')
    bad.click()
    said(page, 'withdrawn')
    assert pressed() == ('false', 'false')

def test_conversations_stay_and_can_be_deleted(open_page):
    page = open_page()
    ask(page, 'What is a query?')
    ask(page, 'And a causal mask?')
    page.get_by_role('button', name='New conversation').click()
    assert page.locator('#talk > li').count() == 0
    ask(page, 'What does the KV cache keep?')
    names = [b.inner_text() for b in page.locator('#earlier .open').all()]
    assert names == ['What does the KV cache keep? (1 question)', 'What is a query? (2 questions)']
    page.get_by_role('button', name='What is a query? (2 questions)', exact=True).click()
    said(page, 'A conversation with 2 questions')
    assert [h.inner_text() for h in page.locator('#talk h3').all()] == ['What is a query?', 'And a causal mask?']
    page.get_by_role('button', name='Delete the conversation “What is a query?”').click()
    said(page, 'is deleted')
    assert page.locator('#talk > li').count() == 0 and page.locator('#earlier li').count() == 1
    page.reload()
    page.wait_for_selector('body[data-ready]')
    assert page.locator('#earlier li').count() == 1

def test_another_browser_sees_nothing(open_page):
    mine, other = open_page(), open_page()
    ask(mine, 'What is a query?')
    address = mine.url
    assert 'conversation=' in address
    other.expect_errors = True # the browser itself logs the status 404
    other.goto(address)
    other.wait_for_selector('body[data-ready]')
    assert 'no such conversation' in other.locator('#status').inner_text()
    assert other.locator('#earlier li').count() == other.locator('#talk > li').count() == 0

def test_stored_html_stays_text(open_page):
    page = open_page()
    for _ in range(2):
        if page.locator('#talk > li').count(): page.reload(), page.wait_for_selector('body[data-ready]')
        else: ask(page, f'evil {EVIL}')
        assert page.locator('#talk img, #talk script, #earlier img').count() == 0 and page.title() == 'The tutor of the book'
        assert page.locator('#talk h3').inner_text() == f'evil {EVIL}'
        assert page.locator('#talk .text').inner_text().startswith(EVIL) and 'does not clearly say' in page.locator('#talk .text').inner_text()
        assert [a.get_attribute('href') for a in page.locator('#talk .sources a').all()] == ['https://example.org/x'] # and no javascript:
        assert EVIL[:60] in page.locator('#earlier .open').first.inner_text()

def test_the_policy_contains_html_that_a_careless_line_inserts(open_page):
    page = open_page()
    page.expect_errors = True # the browser logs what it refuses
    page.evaluate("html => { document.getElementById('empty').innerHTML = html; }", EVIL)
    page.locator('#empty img').wait_for(state='attached')
    page.wait_for_timeout(300)
    assert page.title() == 'The tutor of the book'

def test_too_many_questions(browser, tmp_path):
    with background(tutor_app(Stand(), Conversations(tmp_path/'few.db'), rate=Rate(2, 1))) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector('body[data-ready]')
        ask(page, 'What is a query?')
        ask(page, 'And a key?', 'Too many questions: try again in')
        assert page.locator('#talk > li').count() == 1 and page.get_by_label('Your question').input_value() == 'And a key?'
        page.close()

def test_a_key(browser, tmp_path):
    with background(tutor_app(Stand(), Conversations(tmp_path/'key.db'), key='s3cret')) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector('body[data-ready]')
        said(page, 'key is missing or wrong')
        page.get_by_label('Key of this server').fill('s3cret')
        page.keyboard.press('Tab')
        playwright.expect(page.locator('#status')).to_have_text('', timeout=60_000)
        ask(page, 'What is a query?')
        page.close()

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [320, 375, 1200])
def test_look(open_page, tmp_path, scheme, width):
    page = open_page(viewport=dict(width=width, height=800), color_scheme=scheme, reduced_motion='reduce')
    ask(page, 'What does a causal mask hide? '+'verylongword'*9)
    page.screenshot(path=tmp_path/f'{scheme}_{width}.png', full_page=True)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    def light(what, of): return page.evaluate(f"getComputedStyle(document.querySelector('{what}')).{of}.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0)/3")
    assert (light('body', 'backgroundColor') > 128) == (scheme == 'light')
    for what in ('#talk .text', '#talk blockquote', '#talk .engine', '#help', '#status'):
        assert abs(light(what, 'color')-light('section', 'backgroundColor')) > 90, what
    for button in page.locator('button').all(): assert button.bounding_box()['height'] >= 44

def test_reduced_motion(open_page):
    GATE.clear()
    for motion, expected in (('reduce', 'none'), ('no-preference', 'blink')):
        page = open_page(reduced_motion=motion)
        ask(page, 'slow one', 'Searching')
        page.locator('#talk .writing').wait_for()
        assert page.evaluate("getComputedStyle(document.querySelector('#talk .writing'), '::after').animationName") == expected
        page.get_by_role('button', name='Stop').click()
        said(page, 'Stopped.')
    GATE.set()

def test_names_for_screen_readers(open_page):
    page = open_page()
    assert page.locator('html').get_attribute('lang') == 'en' and page.title()
    assert page.locator('#status').get_attribute('aria-live') == page.locator('#talk').get_attribute('aria-live') == 'polite'
    assert page.get_by_role('log', name='Questions and answers').count() == 1
    ask(page, 'What is a query?')
    assert page.get_by_role('group', name='Your opinion of this answer').count() == 1
    assert page.get_by_role('link', name='source 1').count() >= 1
    assert all(b.inner_text().strip() for b in page.locator('button').all())
    page.keyboard.press('Tab') # everything has a name
    assert page.evaluate("[...document.querySelectorAll('input, textarea')].every(e => e.labels.length)")

def test_the_server_goes_away(browser, tmp_path):
    page = browser.new_page()
    with background(tutor_app(Stand(), Conversations(tmp_path/'gone.db'))) as address:
        page.goto(address)
        page.wait_for_selector('body[data-ready]')
    page.get_by_label('Your question').fill('What is a query?')
    page.keyboard.press('Enter')
    said(page, 'The server does not answer.')
    assert page.get_by_label('Your question').input_value() == 'What is a query?'
    page.close()
