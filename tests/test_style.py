"The numbers of style: chapters that keep every rule of `era_nbdev.core.style`, and those that keep most."
import pytest
from era_nbdev.core import book, style

# Chapters that keep every rule, in book order. The list only grows: a chapter that stands here is mended, never taken out.
CHAPTERS = '''
foundations/01_neurons
foundations/02_backprop
foundations/03_digits
foundations/04_tools
foundations/05_tensors
foundations/06_schedules
foundations/07_learner
foundations/08_callbacks
foundations/09_mnist
foundations/10_web
foundations/15_drawings
foundations/11_playground
foundations/17_load
foundations/12_cloud
foundations/16_measures
foundations/13_evaluation
foundations/14_tuning
vision/01_cnn
vision/02_convnets
vision/03_augment
vision/13_draws
vision/04_policies
vision/13_norms
vision/05_resnet
vision/14_cycle
vision/06_coresets
vision/07_scores
vision/08_ddp
vision/09_ranks
vision/10_photos
vision/11_imagenet
vision/12_throughput
llm/01_attention
llm/02_flash
llm/03_transformer
llm/34_translation
llm/04_tokenizers
llm/30_tokenizer_files
llm/31_fast_tokenizers
llm/32_fast_training
llm/33_sentencepiece
llm/05_subwords
llm/06_embeddings
llm/07_corpus
llm/08_parts
llm/09_gpt
llm/10_budget
llm/11_pretraining
llm/35_hub_settings
llm/12_checkpoints
llm/13_generate
llm/14_engine
llm/15_serving
llm/16_speculation
llm/17_precision
llm/18_overlap
llm/19_metrics
llm/20_code_tasks
llm/21_benchmarks
llm/22_evaluate
llm/23_ablations
llm/26_verifiable
llm/24_chat_templates
llm/25_packing
llm/27_instruct
llm/28_chat
llm/29_forgetting
efficiency/01_quantise
efficiency/02_kernels
efficiency/03_qat
efficiency/04_spectra
multimodal/01_vit
multimodal/02_vit_data
multimodal/03_contrastive
multimodal/04_towers
multimodal/05_weights
multimodal/06_pairs
multimodal/07_lit
multimodal/08_clip
multimodal/09_neighbours
multimodal/10_search
multimodal/11_image_tokens
multimodal/12_vision_language
rl/01_mdp
rl/02_q_learning
rl/03_copies
rl/04_vector
rl/05_replay
rl/06_dqn
rl/07_fast_dqn
rl/08_pixels
rl/09_policy
rl/10_fast
rl/11_ppo
rl/12_ppo_details
rl/13_actors
rl/14_td3
rl/15_continuous
rl/16_rewards
rl/17_rollouts
rl/18_loop
rl/19_rlhf
rl/20_overoptimisation
rl/21_preferences
rl/22_grpo
scale/01_crawl
scale/13_text
scale/02_quality
scale/03_dedup
scale/04_webtext
scale/15_stages
scale/05_collectives
scale/06_sharded
scale/07_tensor
scale/08_pipeline
scale/09_context
scale/14_experts
scale/10_layouts
scale/11_memory
scale/12_planner
scale/16_scaling
scale/17_scaling_laws
scale/18_family
scale/20_distributed_checkpoints
scale/19_steady
scale/21_llm70b
scale/25_streaming
scale/22_api
scale/26_overload
scale/23_engines
scale/24_deploy
apps/01_retrieval
apps/02_dense
apps/03_chunks
apps/04_rag
apps/05_tutor
apps/08_tutor_evaluation
apps/06_tutor_app
apps/07_tutor_load
apps/09_capstone
core/01_errors
core/02_plot
core/03_diagram
core/04_downloads
core/05_data
core/06_ledger
core/07_trackers
core/08_experiments
core/09_folders
core/10_run
core/11_rng
core/12_batches
core/13_distributed
core/14_parity
core/15_bench
core/16_cli
core/17_doctor
core/18_notebooks
core/19_book
core/20_style
core/21_exercise
core/22_referee
core/23_race
core/24_space
core/25_study
core/26_tune
core/24_trace
core/27_state_dicts
'''.split()

# Chapters that are to come into the list, with the rules that they do not keep yet. An entry only gets shorter; one without rules moves up.
NOT_YET: dict[str, list[str]] = {
}

@pytest.mark.parametrize('page', CHAPTERS)
def test_style(page): assert style.faults(page) == {}

@pytest.mark.parametrize('page', NOT_YET)
def test_style_so_far(page):
    broken = {rule: places for rule, places in style.faults(page).items() if rule not in NOT_YET[page]}
    assert broken == {}

REQUIRED = {'ablations', 'actors', 'api', 'attention', 'backprop', 'benchmarks', 'callbacks', 'capstone', 'chat', 'chat_templates', 'checkpoints', 'chunks', 'clip', 'cloud', 'code_tasks', 'collectives', 'context', 'continuous', 'contrastive', 'copies', 'coresets', 'corpus', 'crawl', 'cycle', 'ddp', 'dedup', 'dense', 'deploy', 'digits', 'distributed_checkpoints', 'dqn', 'engine', 'engines', 'evaluate', 'experts', 'family', 'fast', 'fast_dqn', 'flash', 'forgetting', 'generate', 'gpt', 'grpo', 'hub_settings', 'image_tokens', 'instruct', 'kernels', 'layouts', 'learner', 'lit', 'loop', 'mdp', 'memory', 'metrics', 'neighbours', 'neurons', 'norms', 'overlap', 'overload', 'overoptimisation', 'packing', 'pairs', 'parts', 'pipeline', 'pixels', 'planner', 'policy', 'ppo', 'ppo_details', 'precision', 'pretraining', 'q_learning', 'qat', 'quality', 'quantise', 'rag', 'ranks', 'replay', 'resnet', 'retrieval', 'rewards', 'rlhf', 'rollouts', 'schedules', 'scores', 'search', 'sharded', 'spectra', 'stages', 'steady', 'streaming', 'tensor', 'text', 'towers', 'tutor', 'tutor_app', 'tutor_evaluation', 'tutor_load', 'vector', 'verifiable', 'vision_language', 'vit', 'vit_data', 'webtext', 'weights'}

def test_every_required_chapter_is_listed():
    chapters = [page for page in book.pages() if '/' in page]
    required = [page for page in chapters if page.startswith('core/') or book.module_of(page).split('.')[1] in REQUIRED]
    assert [page for page in required if page not in CHAPTERS and page not in NOT_YET] == []
    assert all(NOT_YET.values()) and not set(CHAPTERS) & set(NOT_YET)
