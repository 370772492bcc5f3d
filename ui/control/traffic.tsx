import { signal } from '@preact/signals'
import { bytes } from './format.ts'
import { call } from './lab.ts'

interface Settings {
  visitors: number
  requestsPerSecond: number
  writePercent: number
  sessionBytes: number
}
interface Slider {
  name: keyof Settings
  label: string
  min: number
  max: number
  step: number
  show: (value: number) => string
}
const SLIDERS: Slider[] = [
  { name: 'visitors', label: 'Visitors', min: 1, max: 200, step: 1, show: String },
  { name: 'requestsPerSecond', label: 'Requests per second', min: 1, max: 200, step: 1, show: String },
  { name: 'writePercent', label: 'Share of writes', min: 0, max: 100, step: 5, show: (value) => `${value} %` },
  { name: 'sessionBytes', label: 'Session size', min: 0, max: 8_192, step: 128, show: bytes },
]

const wanted = signal<Settings>({ visitors: 40, requestsPerSecond: 20, writePercent: 30, sessionBytes: 512 })
const isOn = signal(false)

async function apply(on: boolean): Promise<void> {
  if (await call('PUT', '/api/traffic', { ...wanted.value, visitors: on ? wanted.value.visitors : 0 })) isOn.value = on
}

/** What runs already, started by another page perhaps. */
export async function readTraffic(): Promise<void> {
  try {
    const settings = (await (await fetch('/api/traffic')).json()) as Settings
    isOn.value = settings.visitors > 0
    if (isOn.value) wanted.value = settings
  } catch {
    // The stream says that the lab is away.
  }
}

export function TrafficControl() {
  return (
    <section class="panel block traffic" aria-label="Traffic" data-on={isOn.value}>
      <h2>Traffic</h2>
      {SLIDERS.map(({ name, label, min, max, step, show }) => (
        <div class="slider" key={name}>
          <label for={`traffic-${name}`}>{label}</label>
          <output for={`traffic-${name}`}>{show(wanted.value[name])}</output>
          <input
            id={`traffic-${name}`}
            type="range"
            name={name}
            min={min}
            max={max}
            step={step}
            value={wanted.value[name]}
            aria-valuetext={show(wanted.value[name])}
            onInput={(event) => (wanted.value = { ...wanted.value, [name]: Number(event.currentTarget.value) })}
            onChange={() => (isOn.value ? void apply(true) : undefined)}
          />
        </div>
      ))}
      <button type="button" class={isOn.value ? '' : 'primary'} onClick={() => void apply(!isOn.value)}>
        {isOn.value ? 'Stop the traffic' : 'Start the traffic'}
      </button>
    </section>
  )
}
