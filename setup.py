"Reads the package's metadata from settings.ini, its one home; pyproject.toml steers nbdev."
from configparser import ConfigParser
from pathlib import Path
import re
from setuptools import setup, find_packages

root = Path(__file__).parent
cfg = ConfigParser(); cfg.read(root/'settings.ini', encoding='utf-8')
def lines(s): return [o.strip() for o in s.splitlines() if o.strip()]

p, extras = cfg['package'], {k: lines(v) for k, v in cfg['extras'].items()}
extras['dev'] = sorted({o for v in extras.values() for o in v})
setup(version=re.search(r"__version__ = ['\"](.+)['\"]", (root/'era_nbdev/__init__.py').read_text())[1],
      description=p['description'], keywords=p['keywords'], author=p['author'], license=p['license'], classifiers=lines(p['classifiers']),
      long_description=(root/'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
      packages=find_packages(include=['era_nbdev', 'era_nbdev.*']), package_data={'era_nbdev': ['py.typed', '*.json', 'static/*']},
      install_requires=lines(cfg['requirements']['base']), extras_require=extras, entry_points={'console_scripts': [p['console_script']], 'nbdev': [p['nbdev_index']]})
