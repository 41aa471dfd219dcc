// record(logits), as `winnow predict --json` has it: see stages/tasks/regression/answers.py.
export const recorder = ({mean, deviation}) => ([value]) => {
  const digits = 10 ** (5 - Math.floor(Math.log10(deviation)));  // six of what the training rows deviate by
  return {number: Math.round((value * deviation + mean) * digits) / digits + 0};
};
