"""The words that `orch do` knows: which verbs mean which action, what is politeness, what leads to a name.

All of them are lower case; several words stand with single spaces between them. To teach a word, add it to a table
here and a row to docs/command-system.md, which is the test.
"""

from collections.abc import Mapping

from orch_server.domain.session import Action

ANALYZE, REVIEW, IMPLEMENT, PLAN = Action.ANALYZE, Action.REVIEW, Action.IMPLEMENT, Action.PLAN


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(" ".join(phrase.split()) for phrase in text.split(","))


def _spread(table: Mapping[tuple[Action, ...], str]) -> dict[str, tuple[Action, ...]]:
    return {phrase: actions for actions, text in table.items() for phrase in _phrases(text)}


VERBS = _spread(
    {
        (ANALYZE,): """
            analyze, analyse, explain, understand, summarize, summarise, investigate, describe, explore, study,
            examine, research, diagnose, trace, compare, tell me, tell us, show me, walk me through, walk through,
            look at, look into, take a look at, have a look at, find out, figure out, give me an overview
        """,
        (REVIEW,): """
            review, code review, check, double-check, audit, inspect, critique, proofread, vet, verify, look over,
            go over, check over
        """,
        (IMPLEMENT,): """
            implement, fix, add, build, refactor, write, create, make, change, update, remove, delete, rename,
            improve, migrate, convert, port, upgrade, downgrade, bump, introduce, develop, code, replace, move,
            extract, clean up, clean, simplify, optimize, optimise, speed up, support, handle, resolve, repair,
            correct, rewrite, extend, finish, complete, set up, enable, disable, document, translate, integrate,
            generate, reduce, split, merge, format, polish, patch, solve, swap, drop, install, configure, wire up,
            hook up, expose, cache, deprecate, adjust, tweak, modernize, modernise, restructure, reorganize,
            reorganise, revert, undo, turn, allow, prevent, avoid, show, display, hide, log, switch, get rid of,
            work on, put, give, increase, decrease, raise, lower, validate, use, apply, substitute, combine,
            connect, ensure, make sure, bring, round, sort, store, save, load, delegate, inline, deduplicate,
            parallelize, parallelise, cover, pin, publish, scaffold, bootstrap
        """,
        (PLAN,): "plan, design, outline, propose, architect, sketch, think through, map out",
        (REVIEW, IMPLEMENT): "test",
        (ANALYZE, IMPLEMENT): "debug",
        (ANALYZE, REVIEW): "assess, evaluate, find, look for, search for",
        (PLAN, IMPLEMENT): "draft, prepare",
    }
)
"""What a verb means; several actions: it alone does not say which."""

NOUNS: dict[str, Action] = {
    "review": REVIEW,
    "audit": REVIEW,
    "critique": REVIEW,
    "check": REVIEW,
    "analysis": ANALYZE,
    "summary": ANALYZE,
    "explanation": ANALYZE,
    "overview": ANALYZE,
    "investigation": ANALYZE,
    "plan": PLAN,
    "design": PLAN,
    "outline": PLAN,
    "proposal": PLAN,
    "roadmap": PLAN,
    "implementation": IMPLEMENT,
    "fix": IMPLEMENT,
    "refactoring": IMPLEMENT,
}
"""What is done where it stands as a noun: "do a review of", "draft a plan for"."""

LIGHT_VERBS = _phrases(
    """
        do, make, write, draft, prepare, create, give, give me, give us, run, perform, conduct, produce, get, get
        me, provide, come up with, work out, put together, start, want, need
    """
)
"""Verbs that leave the meaning to a noun behind them."""

BARE = _phrases(
    """
        analyze, analyse, examine, review, code review, check, double-check, audit, inspect, look over, look at, go
        over, take a look at, have a look at, analysis
    """
)
"""Verbs and nouns that say no more than the action: where nothing else is left, its default prompt says it better."""

QUESTIONS = _words("why how what where when who which whose does is are about whether")
"""A task that begins with one of these is a question, and wants an analysis."""

LEADS_ON = frozenset(("find", "go", "try", "search for", "look for"))
"""Before "and", these leave it to the verb behind: "find and fix"."""

WORKS = _words("fix implement refactor repair correct rewrite patch apply")
"""Behind "and" in a task that only reads, these ask for more than reading: "review the cart and fix it"."""

TAKES_WITH = _words(
    """
        replace swap substitute compare integrate combine connect merge exchange switch support
    """
)
"""Verbs whose "with ..." belongs to the task: "replace codex with claude"."""

ADVERBS = _words(
    """
        quickly carefully thoroughly briefly properly also then first finally simply really critically
    """
)

POLITE = _phrases(
    """
        please, pls, kindly, hey, hi, hello, ok, okay, so, well, now, orch, hey orch, just, could you, can you,
        would you, will you, could we, can we, can i, could i, could, can, would, will, would you mind, if you
        could, i want you to, i would like you to, i'd like you to, i want to, i would like to, i'd like to, i need
        to, we need to, we should, you should, i want, i'd like, i would like, i need, we need, we want, let's, let
        us, go ahead and, go and, maybe, help me, help us, i think, thanks, thank you, -, –, —, :
    """
) | {","}
"""What may stand before a command and means nothing for it."""

POLITE_ENDS = _phrases(
    """
        please, pls, kindly, thanks, thank you, thanks a lot, many thanks, thank you very much, thx, cheers, asap,
        for me, for us, if you can, if possible, would you, could you, will you, ok, okay, -, –, —, :
    """
) | {","}
"""What may stand behind a command and means nothing for it."""

ASKING = _words("ask tell instruct order assign request task command")
"""Verbs behind which an agent must come, known or not, where "to" follows."""

INTRODUCING = ASKING | _words("have let get make want need use send run launch start spawn give delegate to")
"""Verbs behind which an agent may come: "have claude review"."""

LINKS = _phrases(
    """
        to, should, must, shall, could, can, will, would, may, needs to, has to, ought to, is to, for, on, and, the
        task to, the task
    """
)
"""What joins an agent to its task."""

JOINTS = _phrases("and, or, then, and then, or then, or maybe, and also, as well as, plus, followed by, &, +, /")
"""What stands between the names of a list."""

IN = _words("in inside within")
"""What leads to the place of the work: "in my-app"; cut from the prompt together with the project."""

IN_OR_OF = IN | {"of"}

NEAR_PLACES = _words("to for from on at into of onto about against")
"""What may lead to a project by the way: "add a page to my-app". It stays in the prompt."""

AT_THE_START = IN | _words("for on at")
"""What leads to a project before the task: "on my-app: ..."."""

UNDER = IN | _words("under below")
"""What leads to a path that the work keeps to."""

AROUND = UNDER | _words("of on at for from")
"""What leads to a path where the work only reads."""

WITH = _words("with using via by through")
"""What leads to an agent or a model."""

WITH_MODEL = _words("with using via on")

MODEL_WORDS = frozenset(("model", "--model"))
ARTICLES = _words("the a an my our this that its your some all")
PLACES = _words("project repo repository codebase workspace")
"""Words that say that the name beside them is a project's."""

PATH_WORDS = _words("file folder directory dir module package path")

SAYS_NOTHING = (
    ARTICLES | PLACES | PATH_WORDS | NEAR_PLACES | IN | _words("code whole entire everything it source complete")
)
"""Words around a scope or a project that add nothing to "review"."""

SHALLOW = _words("quick thorough careful full complete deep in-depth detailed brief short proper general good code")
"""Words before a noun like "review" that do not say what to look for."""

CONTINUES = (
    IN
    | WITH
    | _words(
        """
        for on to and so because but that where which when if as please thanks before after without under
        about then including especially focusing or while until since
    """
    )
)
"""What may come behind a phrase that is whole: here "in shop" is a place, and in "in shop windows" it is not."""

MODEL_FAMILIES = (
    "gpt", "opus", "sonnet", "haiku", "grok", "llama", "qwen", "deepseek", "mistral", "devstral", "codestral", "kimi",
    "glm",
)  # fmt: skip
"""What models are called; more may follow behind a digit or a hyphen."""

MODEL_BEGINNINGS = ("claude-", "gemini-", "codex-", "composer-", "gemma-", "phi-", "o1", "o3", "o4")
"""What models begin with that mean something else, or nothing, alone."""

AGENT_SYNONYMS: dict[str, tuple[str, ...]] = {
    "claude": ("claude code", "claude-code", "anthropic claude", "claude cli"),
    "codex": ("openai codex", "open ai codex", "codex cli", "openai"),
    "copilot": ("github copilot", "gh copilot", "copilot cli", "co-pilot"),
    "gemini": ("gemini cli", "google gemini", "gemini-cli"),
    "cursor": ("cursor agent", "cursor-agent", "cursor cli"),
    "opencode": ("open code", "open-code"),
    "demo": ("demo agent", "the demo agent"),
}

_COMMON = _words(
    """
        able above access account action actions admin again agent agents alert alias all also always any
        anything api app apps area array auth back backend background bar base bash basis batch because best
        better big blog body bold book border both bottom box branch browser buffer bug bugs bundle button
        buttons byte bytes call calls card cards cart case cases cell chat check class classes client cloud
        code coded coder codec codes coding color colour column command commands commit common component
        config console const content context cookie cookies copy core count course css curl current cursors
        cycle dark data database date day dead debug default delay demand demos depth detail details detail
        dialog diff dir disk doc docs dom done door down draft each edge editor email empty end engine entry
        env error errors event events every example export extra face fact fail failure false fast feature
        features field fields file files filter final flag flags flow focus folder font footer form forms
        frame free front full function functions general global good grid group handler hash head header
        headers height help here hidden history home hook hooks host hour html icon icons idea image images
        import index info inner input inputs insert inside inspect issue item items job jobs json key keys
        kind label language large last layer layout lead leak left legal length less level library light like
        limit line lines link links linux list lists live local lock logic login long loop loops lot main map
        mark mask master match memory menu merge message messages meta method mobile modal mode models module
        modules monday month more most mouse name names native nav near network new next nice node nodes note
        notes null number object old online only open option options order other outer output page pages panel
        parallel parent parser part parts pass password past path paths people phase phone picture place plain
        plan play plus point policy poll pool popup port post power price prices print private process prod
        product production profile program progress prod prompt props proxy public pull push python query
        queue quick race random range rate read reader real record red ref release remote render report
        request requests reset response rest result results retry right role root round route router routes
        row rows rule rules runtime rust safe same sample scale schema scope screen script scripts scroll
        search second section security select self server servers service services session set settings setup
        shape share shell ship shop shops short shot show side sidebar simple site size slot slow small snap
        socket some something sort source space spec speed split stack staging stale start state states static
        status step steps stock stop storage store stores stream string strings strict struct stub style
        styles suite sync syntax system tab table tables tag tags target task tasks template term terminal
        test tests text theme there thing things thread time times title toggle token tokens tool tools top
        total trace track tree true type types unit update upload url user users utils value values version
        versions view views wait warn warning watch way web week weight wide width window windows word words
        work worker world wrap write year zero zone
    """
)

PLAIN_WORDS = frozenset(
    word
    for table in (
        _COMMON, VERBS, NOUNS, LIGHT_VERBS, QUESTIONS, ADVERBS, POLITE, POLITE_ENDS, INTRODUCING, LINKS, AROUND, WITH,
        MODEL_WORDS, SAYS_NOTHING, CONTINUES, MODEL_FAMILIES,
    )
    for phrase in table
    for word in phrase.split()
)  # fmt: skip
"""Words that mean themselves: none of them is somebody's typing mistake in a name."""

NOBODY = PLAIN_WORDS | _words("me us you them him her someone somebody anyone one") | {""}
"""Words that are nobody's name: "ask someone to" leaves the agent open."""
