import { simulator } from "../../../core/definition/builders.ts";
import { mix, normal, randomNumbers, seedState } from "../../../core/numbers/random.ts";
import { heartRates } from "../schemas/heart-rates.ts";

/** This many readings of a patient are alike in kind: an episode lasts as long. */
const EPISODE_READINGS = 40;

/** Every patient has a heart rate of his own. Now and then it is too high or too low for a while. */
export const patients = simulator("patients", {
  description: "heart rates of patients",
  streams: [heartRates],
  unit: "readings",
  rate: 50,
  parameters: { patients: { description: "how many patients", byDefault: 50 } },
  events:
    ({ seed, rate, fromMs, parameters: { patients = 1 } }) =>
    (step) => {
      const random = randomNumbers(mix(seedState(seed)) ^ mix(step), Math.floor(step / 2 ** 32));
      const patient = step % patients;
      const event = {
        reading_id: `${seed.toString(36)}-${step.toString(36)}`,
        patient_id: `patient-${patient + 1}`,
        measured_at: fromMs + Math.floor((step * 1_000) / rate),
        bpm: heartRate(seed, patient, Math.floor(step / patients), normal(random(), random())),
      };
      return [{ stream: heartRates, event }];
    },
});

/** A patient's own heart rate, which noise and now and then an episode move. */
function heartRate(seed: number, patient: number, nth: number, noise: number): number {
  const own = randomNumbers(mix(seedState(seed)) ^ mix(patient), 1);
  const usual = 66 + Math.floor(own() * 24);
  const episode = randomNumbers(mix(seedState(seed)) ^ mix(patient), 2 + Math.floor(nth / EPISODE_READINGS))();
  const shift = episode < 0.02 ? 45 : episode < 0.04 ? -25 : 0;
  return Math.max(20, Math.min(220, Math.round(usual + shift + 4 * noise)));
}
