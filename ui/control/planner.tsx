/** The decision aid: the questions, the arithmetic and the advice of `holdfast compare --plan`. */
import { computed, signal } from '@preact/signals'
import { type Demand, estimate, type Estimate } from '../../src/lab/compare/capacity.ts'
import { cells, COLUMNS } from '../../src/lab/compare/plan-text.ts'
import { answered, demandOf, type Question, QUESTIONS, wish } from '../../src/lab/compare/questions.ts'
import { advice, nameOf, recommend } from '../../src/lab/compare/recommend.ts'

const texts = signal<ReadonlyMap<string, string>>(new Map(QUESTIONS.map(({ name, fallback }) => [name, String(fallback)])))

const answer = (question: Question): number | undefined => answered(question, texts.value.get(question.name) ?? '')

/** Undefined while a question has no answer that fits. */
const demand = computed<Demand | undefined>(() => {
  const answers = QUESTIONS.map((question) => [question.name, answer(question)] as const)
  return answers.every(([, number]) => number !== undefined) ? demandOf(new Map(answers)) : undefined
})

interface Result {
  readonly estimates: readonly Estimate[]
  readonly choice: Estimate
  /** What to begin with, then what speaks against others. */
  readonly lines: readonly string[]
}

function resultOf(wanted: Demand): Result {
  const estimates = estimate(wanted)
  const recommendation = recommend(wanted, estimates)
  return { estimates, choice: recommendation.choice, lines: advice(recommendation) }
}

export function Planner() {
  const result = demand.value && resultOf(demand.value)
  const [begin = 'One of the answers does not fit.'] = result?.lines ?? []
  return (
    <section class="panel block planner" aria-label="Decision aid">
      <h2>Which one for your size?</h2>
      <form class="questions" aria-label="Your size" onSubmit={(event) => event.preventDefault()}>
        {QUESTIONS.map((question) => (
          <Ask key={question.name} question={question} />
        ))}
      </form>
      <p class="begin" role="status">
        {begin}
      </p>
      {result !== undefined && <Estimates {...result} />}
    </section>
  )
}

function Ask({ question }: { question: Question }) {
  const { asks, max, min, name } = question
  const id = `plan-${name}`
  const isWrong = answer(question) === undefined
  return (
    <div class="ask">
      <label for={id}>{asks}</label>
      <input
        id={id}
        name={name}
        type="number"
        inputMode="numeric"
        min={min}
        max={max}
        step="1"
        value={texts.value.get(name) ?? ''}
        aria-invalid={isWrong}
        aria-describedby={isWrong ? `${id}-wish` : undefined}
        onInput={(event) => (texts.value = new Map([...texts.value, [name, event.currentTarget.value]]))}
      />
      {isWrong && (
        <p id={`${id}-wish`} class="small wish">
          {wish(question)}.
        </p>
      )}
    </div>
  )
}

function Estimates({ estimates, choice, lines: [, ...against] }: Result) {
  return (
    <>
      <div class="scroll" role="region" aria-label="Estimates" tabIndex={0}>
        <table>
          <caption class="hidden">What each strategy costs at this size</caption>
          <thead>
            <tr>
              <td />
              {COLUMNS.map((column) => (
                <th key={column} scope="col">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {estimates.map((one) => (
              <Row key={nameOf(one)} one={one} isChosen={one === choice} />
            ))}
          </tbody>
        </table>
      </div>
      {against.length > 0 && (
        <ul class="small">
          {against.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      )}
      <p class="soft small">
        Arithmetic on measured figures, not a measurement: try it with <code>holdfast compare</code>, or calibrate it by one with{' '}
        <code>holdfast compare --plan --from</code>.
      </p>
    </>
  )
}

function Row({ one, isChosen }: { one: Estimate; isChosen: boolean }) {
  return (
    <tr class={isChosen ? 'chosen' : ''} data-chosen={isChosen}>
      <th scope="row">
        {nameOf(one)}
        {isChosen && <span class="hidden"> (recommended)</span>}
      </th>
      {cells(one).map((text, index) => (
        <td key={COLUMNS[index]}>{text}</td>
      ))}
    </tr>
  )
}
